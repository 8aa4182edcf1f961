"""Imports: modules of a sandbox are found among its files, and stay with it.

`standard` loads what programs may import of the standard library while the component is built: its
files are not there afterwards. Modules that a program loads from files belong to its sandbox and
are taken out of `sys.modules` between runs, so that two sandboxes never share one.
"""

import importlib
import importlib.machinery
import linecache
import os
import sys

STANDARD = """
__future__ abc argparse array ast asyncio base64 binascii bisect builtins calendar cmath code
codecs collections collections.abc colorsys concurrent.futures configparser contextlib contextvars
copy copyreg csv dataclasses datetime decimal difflib dis email email.message email.mime.multipart
email.mime.text email.parser enum errno filecmp fnmatch fractions functools gc getopt getpass
glob graphlib gzip hashlib heapq hmac html html.entities html.parser http http.client http.cookies
importlib importlib.abc importlib.resources importlib.util inspect io ipaddress itertools
json json.decoder
json.encoder keyword linecache locale logging logging.handlers marshal math mimetypes
netrc numbers operator opcode optparse os os.path pathlib pickle pickletools pkgutil platform
plistlib pprint queue quopri random re reprlib runpy sched secrets shelve shlex shutil signal
statistics stat string string.templatelib stringprep struct symtable sys sysconfig
tarfile tempfile textwrap threading time timeit token tokenize tomllib trace traceback types typing
unicodedata unittest unittest.mock urllib urllib.error urllib.parse urllib.request
uuid warnings weakref xml.dom.minidom xml.etree.ElementTree xml.sax zipfile zlib zoneinfo
encodings.ascii encodings.cp1252 encodings.idna encodings.latin_1 encodings.utf_16 encodings.utf_32
encodings.utf_8_sig encodings.hex_codec encodings.base64_codec encodings.rot_13 encodings.punycode
""".split()


class Loader:
    """Runs a module's source."""

    def __init__(self, filename):
        self.filename = filename

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        source = self.get_data(self.filename)
        exec(compile(source, self.filename, "exec", dont_inherit=True), module.__dict__)

    def get_data(self, path):
        with open(path, "rb") as file:
            return file.read()

    def get_source(self, _name):
        return importlib.util.decode_source(self.get_data(self.filename))


class Finder:
    """Finds modules among the files of the sandbox: in the working directory, then at the root."""

    def find_spec(self, fullname, path=None, target=None):
        name = fullname.rpartition(".")[2]
        roots = dict.fromkeys((os.getcwd(), "/")) if path is None else path
        for root in roots:
            base = os.path.join(root, name)
            package = os.path.join(base, "__init__.py")
            if os.path.isfile(package):
                return self._spec(fullname, package, [base])
            if os.path.isfile(base + ".py"):
                return self._spec(fullname, base + ".py", None)
            if os.path.isdir(base):
                spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
                spec.submodule_search_locations = [base]
                return spec
        return None

    def _spec(self, fullname, filename, locations):
        spec = importlib.machinery.ModuleSpec(
            fullname, Loader(filename), origin=filename, is_package=locations is not None
        )
        spec.has_location = True
        if locations is not None:
            spec.submodule_search_locations = locations
        return spec


def standard():
    """Load the standard library; while the component is built."""
    for name in STANDARD:
        importlib.import_module(name)
    sys.modules["tempfile"].tempdir = "/"  # it would look for folders that are there on a system


_own = frozenset()


def install():
    """Look for modules among files from now on, and remember which modules are everybody's."""
    global _own
    if not _own:
        # The standard library's files stayed where the component was built.
        sys.meta_path[-1] = Finder()
        sys.path[:] = ["/"]
        _own = frozenset(sys.modules)


def enter(loaded):
    """Show a sandbox the modules that it has loaded."""
    sys.modules.update(loaded)


def leave(loaded):
    """Take a sandbox's modules away, and keep them in `loaded`."""
    linecache.clearcache()
    for name in [name for name in sys.modules if name not in _own]:
        loaded[name] = sys.modules.pop(name)
