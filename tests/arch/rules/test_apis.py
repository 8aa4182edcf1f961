"""One planted difference per code of `rules/apis.py`."""

from arch.support import Project, api


def test_a_declared_export_that_does_not_exist_is_found(project: Project):
    """E_ARCH_EXPORT_UNKNOWN, and its patch removes the export."""
    project.node("shop.app")["exports"] = ["shop.app.start", "shop.core.price", "shop.app.main"]
    assert project.messages("E_ARCH_EXPORT_UNKNOWN") == [
        "shop.app declares the export shop.app.start: no module exports it",
        "shop.app declares the export shop.core.price: shop.core is not its own",
    ]
    assert project.check(write=True).findings == ()
    assert project.load("graph")["modules"][5]["exports"] == ["shop.app.main"]


def test_a_name_in_all_that_the_graph_does_not_export_is_found(project: Project):
    """E_ARCH_EXPORT_UNDECLARED, and its patch declares the export."""
    project.append("src/shop/app.py", '__all__ = ["main"]\n')
    assert project.messages("E_ARCH_EXPORT_UNDECLARED") == [
        "__all__ of shop.app names main; shop.app does not export it"
    ]
    assert project.check(write=True).findings == ()


def test_an_internal_prefix_excuses_names_in_all(project: Project):
    """Modules may share names with each other without promising them."""
    project.append("src/shop/app.py", '__all__ = ["main"]\n')
    project.documents["contracts"]["internal"] = [{"prefix": "shop.app", "reason": "entry point"}]
    assert project.codes() == []


def test_an_export_of_a_core_without_a_contract_is_found(project: Project):
    """E_ARCH_EXPORT_UNCONTRACTED: what a core or a port exports is public or internal."""
    project.documents["contracts"]["public_apis"] = [api("shop.ports.Store")]
    assert project.messages("E_ARCH_EXPORT_UNCONTRACTED") == [
        "core shop.core exports shop.core.price without a contract"
    ]
    project.documents["contracts"]["internal"] = [
        {"prefix": "shop.core.price", "reason": "for the app alone"}
    ]
    assert project.codes() == []


def test_exports_that_are_computed_are_a_warning(project: Project):
    """E_ARCH_EXPORTS_DYNAMIC: a check that cannot see all names says so."""
    project.append("src/shop/core.py", "__all__ += [name for name in dir()]\n")
    report = project.check()
    assert [(item.code, item.severity) for item in report.findings] == [
        ("E_ARCH_EXPORTS_DYNAMIC", "warning")
    ]


def test_two_contracts_for_one_symbol_are_found(project: Project):
    """E_ARCH_API_DUPLICATE names the symbol."""
    project.documents["contracts"]["public_apis"].append(api("shop.core.price"))
    assert project.messages("E_ARCH_API_DUPLICATE") == [
        "shop.core.price has more than one contract"
    ]


def test_a_public_symbol_that_the_code_does_not_export_is_found(project: Project):
    """E_ARCH_API_UNKNOWN: missing, private by __all__, or listed and not there."""
    project.append("src/shop/core.py", "def cost(): ...\n__all__ = ['price', 'gone']\n")
    for name in ("nothing", "cost", "gone", "cost.part"):
        project.documents["contracts"]["public_apis"].append(api(f"shop.core.{name}"))
    assert project.messages("E_ARCH_API_UNKNOWN") == [
        f"no module of the project exports shop.core.{name}"
        for name in ("cost", "cost.part", "gone", "nothing")
    ]


def test_a_lazy_module_exports_what_it_lists(project: Project):
    """A module with __getattr__ may bind the names of __all__ when they are asked for."""
    project.write("src/shop/__init__.py", '__all__ = ["price"]\ndef __getattr__(name): ...\n')
    project.node("shop")["exports"] = ["shop.price"]
    project.documents["contracts"]["public_apis"].append(api("shop.price"))
    assert project.codes() == []


def test_a_module_without_all_exports_what_is_not_private(project: Project):
    """Without __all__ the bound names count, but not those with an underscore."""
    project.append("src/shop/app.py", "_hidden = shown = 1\n")
    project.node("shop.app")["exports"] = ["shop.app.shown", "shop.app._hidden"]
    assert project.messages("E_ARCH_EXPORT_UNKNOWN") == [
        "shop.app declares the export shop.app._hidden: no module exports it"
    ]


def test_a_public_symbol_that_no_node_exports_is_found(project: Project):
    """E_ARCH_API_UNEXPORTED, and its patch adds it to the node that owns the module."""
    project.documents["contracts"]["public_apis"].append(api("shop.app.main"))
    assert project.messages("E_ARCH_API_UNEXPORTED") == [
        "shop.app does not declare the public symbol shop.app.main as an export"
    ]
    assert project.check(write=True).findings == ()


def test_a_missing_or_empty_encoding_document_is_found(project: Project):
    """E_ARCH_API_ENCODING_DOC_MISSING names the field, the symbol and the path."""
    apis = project.documents["contracts"]["public_apis"]
    apis[0]["encoding_doc"] = "docs/none.md"
    apis[1]["encoding_doc"] = "docs/empty.md"
    project.write("docs/empty.md", "\n")
    assert project.messages("E_ARCH_API_ENCODING_DOC_MISSING") == [
        "encoding_doc of shop.core.price is missing: docs/none.md",
        "encoding_doc of shop.ports.Store is empty: docs/empty.md",
    ]


def test_a_missing_errors_document_is_found(project: Project):
    """E_ARCH_API_ERRORS_DOC_MISSING: a directory is no document either."""
    project.documents["contracts"]["public_apis"][0]["errors_doc"] = "docs"
    assert project.messages("E_ARCH_API_ERRORS_DOC_MISSING") == [
        "errors_doc of shop.core.price is missing: docs"
    ]


def test_a_missing_smoke_test_is_found(project: Project):
    """E_ARCH_API_SMOKE_MISSING: none, no file, no such test, no test in the file."""
    project.write("tests/smoke/test_empty.py", "def helper(): ...\n")
    project.write("tests/smoke/test_broken.py", "def (\n")
    apis = project.documents["contracts"]["public_apis"]
    apis[0]["smoke_tests"] = []
    apis[1]["smoke_tests"] = [
        "tests/smoke/test_none.py::test_a",
        "tests/smoke/test_shop.py::test_read",
        "tests/smoke/test_empty.py",
        "tests/smoke/test_broken.py::test_a",
    ]
    assert project.messages("E_ARCH_API_SMOKE_MISSING") == [
        "shop.core.price has no smoke test",
        "smoke test of shop.ports.Store: tests/smoke/test_broken.py has no test test_a",
        "smoke test of shop.ports.Store: tests/smoke/test_empty.py has no test",
        "smoke test of shop.ports.Store: tests/smoke/test_none.py is missing",
        "smoke test of shop.ports.Store: tests/smoke/test_shop.py has no test test_read",
    ]


def test_smoke_tests_in_classes_and_case_files_count(project: Project):
    """A test in a class, a whole test file and a file of cases are smoke tests."""
    project.write("tests/smoke/cases/price.json", "{}")
    project.documents["contracts"]["public_apis"][0]["smoke_tests"] = [
        "tests/smoke/test_shop.py::TestStore::test_read",
        "tests/smoke/test_shop.py",
        "tests/smoke/cases/price.json",
    ]
    assert project.codes() == []


def test_an_internal_prefix_that_covers_nothing_is_found(project: Project):
    """E_ARCH_INTERNAL_UNUSED is a warning with a patch."""
    project.documents["contracts"]["internal"] = [{"prefix": "shop.gone", "reason": "was here"}]
    assert project.messages("E_ARCH_INTERNAL_UNUSED") == [
        "the internal prefix shop.gone covers no module and no symbol"
    ]
    assert project.check(write=True).findings == ()
