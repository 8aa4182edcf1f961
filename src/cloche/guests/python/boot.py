"""Makes the package `_cloche` in the guest and a way to fill it. The only file run in `__main__`.

Names left behind live in builtins: `__main__` belongs to the user's program.
"""

import builtins
import sys
import types


def _install(name, source):
    # Imported here: the globals of this function are the program's, which start out empty.
    import sys
    import types

    full_name = f"_cloche.{name}"
    filename = f"<cloche>/{name}.py"
    module = types.ModuleType(full_name)
    module.__file__ = filename
    sys.modules[full_name] = module
    setattr(sys.modules["_cloche"], name, module)
    exec(compile(source, filename, "exec", dont_inherit=True), module.__dict__)


_package = types.ModuleType("_cloche")
_package.__path__ = []
sys.modules["_cloche"] = _package
builtins._cloche_install = _install
del builtins, types, _install, _package
