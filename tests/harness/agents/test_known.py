import pytest
import rig

from harness.agents import Idle, Mutated, Solution
from harness.model import Mutant, Status, Work


@pytest.fixture
def task(tmp_path):
    made = rig.made_task(tmp_path / "greet")
    rig.write(made.starter, {"app/main.py": "starter", "README.md": "hello"})
    rig.write(made.solution, {"app/main.py": "good"})
    return made


MUTANT = Mutant("bad", "app/main.py", "good", "bad", frozenset({"greets"}))


@pytest.mark.parametrize(("agent", "said"), [(Idle(), "starter"), (Solution(), "good"), (Mutated(MUTANT), "bad")])
def test_a_known_agent_leaves_what_is_known_of_it(task, tmp_path, agent, said):
    assert agent.work(task, tmp_path / "workspace") == Work(Status.COMPLETED)
    assert (tmp_path / "workspace" / "app" / "main.py").read_text() == said
    assert (tmp_path / "workspace" / "README.md").read_text() == "hello"


@pytest.mark.parametrize("agent", [Idle(), Solution(), Mutated(MUTANT)])
def test_a_folder_that_is_there_is_not_touched(task, tmp_path, agent):
    (tmp_path / "workspace").mkdir()
    with pytest.raises(FileExistsError):
        agent.work(task, tmp_path / "workspace")
    assert list((tmp_path / "workspace").iterdir()) == []
