"""Runs agents on FastAPI tasks and judges the services they leave behind."""
