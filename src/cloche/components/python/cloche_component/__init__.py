"""The program inside `exec-python.wasm`: `golem:exec/executor` on the component's own CPython.

All of it runs in the component; nothing here is imported by the host. What is loaded while this
module is imported is part of the component's initial memory.
"""

from cloche_component import route

route.install()  # before the modules that keep references to what it replaces

from cloche_component import loop, modules

modules.standard()
loop.install()

import executor

from cloche_component.program import Sandbox
from wit_world import exports


class Executor(exports.Executor):
    """The functions of the interface; its resources are in `executor`."""

    def run(self, lang, modules, snippet, options):
        return executor.result_of(Sandbox(lang, modules), snippet, options)

    def run_streaming(self, lang, modules, snippet, options):
        return executor.stream_of(Sandbox(lang, modules), snippet, options)


class Types(exports.Types):
    """The interface of the types has no functions."""
