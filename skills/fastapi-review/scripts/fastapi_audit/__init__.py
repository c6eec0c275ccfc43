"""A static and running review of FastAPI code. Standard library only, so that a copy of this folder works anywhere."""
