"""cloche as WebAssembly components, for hosts that are not cloche.

Owns the build of `exec-python.wasm`. What runs inside the component is under `python/`; the host
never imports it.
"""

from cloche.components.build import Component, ComponentBuildError, ComponentToolError, build_python

__all__ = ["Component", "ComponentBuildError", "ComponentToolError", "build_python"]
