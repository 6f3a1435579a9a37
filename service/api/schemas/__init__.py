"""Requests and replies as pydantic models."""
