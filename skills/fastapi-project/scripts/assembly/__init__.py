"""What assemble.py does, step by step: blocks -> wiring -> plan -> install."""
