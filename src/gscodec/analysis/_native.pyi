# The native module checks shapes and types itself (csrc/bindings.cpp); for mypy everything in it is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
