"""A shim for tools that want a `setup.py`; everything is said in `pyproject.toml`."""

from setuptools import setup

setup()
