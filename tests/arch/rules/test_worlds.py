"""One planted difference per code of `rules/worlds.py`."""

from arch.support import REAL_WORLDS, Project, node


def test_a_node_in_a_world_that_its_import_lacks_is_found(project: Project):
    """E_ARCH_WORLD_FORBIDDEN names the world, and its patch narrows the importer."""
    project.node("shop.ports")["worlds_allowed"] = ["fixture", "run-os"]
    report = project.check()
    assert {finding.code for finding in report.findings} == {"E_ARCH_WORLD_FORBIDDEN"}
    core = next(item for item in report.findings if item.node_from == "shop.core")
    assert core.message == (
        "shop.core is allowed in run-os-sandboxed, and shop.ports, which it imports, is not"
    )
    assert (core.path, core.line) == ("src/shop/core.py", 1)


def test_the_patch_narrows_only_the_world_that_is_missing(project: Project):
    """After --write the importer keeps the worlds that its imports have."""
    project.node("shop.ports")["worlds_allowed"] = ["fixture", "run-os"]
    project.check(write=True)
    assert project.load("graph")["modules"][1]["worlds_allowed"] == ["fixture", "run-os"]


def test_an_app_without_an_adapter_for_one_of_its_worlds_is_found(project: Project):
    """E_ARCH_WORLD_UNBOUND: allowed in fixture while it binds only what runs on the machine."""
    app = project.root / "src/shop/app.py"
    project.write("src/shop/app.py", app.read_text().replace("memory import Mem", "disk import D"))
    project.node("shop.app")["imports"].remove("shop.memory")
    assert project.messages("E_ARCH_WORLD_UNBOUND") == [
        (
            "app shop.app is allowed in fixture, where shop.ports has no adapter: "
            "shop.disk is allowed in run-os, run-os-sandboxed"
        )
    ]


def test_each_port_of_an_app_is_judged_on_its_own(project: Project):
    """A fixture adapter of one port does not stand in for the adapter of another."""
    project.write("src/shop/clock.py", "class Clock:\n    pass\n")
    project.write("src/shop/adapters/wall.py", "import time\nfrom shop.clock import Clock\n")
    project.append("src/shop/app.py", "import shop.adapters.wall\n")
    project.documents["graph"]["modules"] += [
        node("shop.clock", "port", []),
        node(
            "shop.wall",
            "adapter-os",
            ["shop.clock"],
            match={"prefixes": ["shop.adapters.wall"]},
            worlds_allowed=REAL_WORLDS,
        ),
    ]
    project.node("shop.app")["imports"].append("shop.wall")
    assert project.messages("E_ARCH_WORLD_UNBOUND") == [
        (
            "app shop.app is allowed in fixture, where shop.clock has no adapter: "
            "shop.wall is allowed in run-os, run-os-sandboxed"
        )
    ]


def test_an_adapter_of_no_port_cannot_be_bound_away(project: Project):
    """An adapter that implements no port is an import like any other."""
    project.write("src/shop/adapters/disk.py", "import os\n\n\nclass DiskStore:\n    pass\n")
    project.node("shop.disk")["imports"] = []
    assert project.messages("E_ARCH_WORLD_FORBIDDEN") == [
        "shop.app is allowed in fixture, and shop.disk, which it imports, is not"
    ]


def test_an_import_for_types_alone_leads_into_no_world(project: Project):
    """What is not there in a run needs no world; a port named for its type still is a port."""
    project.write(
        "src/shop/adapters/disk.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from shop.ports import Store\n"
        "class DiskStore:\n    pass\n",
    )
    assert project.codes() == []
    project.node("shop.ports")["worlds_allowed"] = ["fixture"]
    importers = {finding.node_from for finding in project.check().findings}
    assert importers == {"shop.core"}


def test_one_real_import_beside_one_for_types_needs_the_world(project: Project):
    """An edge takes part in a run if any of its imports does."""
    project.append(
        "src/shop/core.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import shop.ports\n",
    )
    project.node("shop.ports")["worlds_allowed"] = ["fixture"]
    importers = {finding.node_from for finding in project.check().findings}
    assert importers == {"shop.core", "shop.disk"}


def test_no_patch_takes_the_last_world(project: Project):
    """A node that would be left without a world has to be changed by hand."""
    project.node("shop.core")["worlds_allowed"] = ["fixture"]
    project.node("shop.ports")["worlds_allowed"] = ["run-os"]
    findings = [item for item in project.check().findings if item.node_from == "shop.core"]
    assert [finding.patch for finding in findings] == [None]
