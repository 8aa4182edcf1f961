"""`cloche images`: what guests start from."""

from __future__ import annotations

from typing import Annotated

import typer

from cloche.cli.output import ImageProgress, print_json, table

app = typer.Typer(help="List and build the images that guests start from.", no_args_is_help=True)


@app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the images, and which are ready on this machine."""
    from cloche.engine.adapters.images import Images  # noqa: PLC0415 - keeps --help fast
    from cloche.engine.catalogue import CATALOGUE  # noqa: PLC0415
    from cloche.limits.adapters.settings import guest_modules, load_limits  # noqa: PLC0415

    images = Images(load_limits(), modules=guest_modules())
    rows = [images.describe(name) for name in CATALOGUE]
    if as_json:
        print_json({"images": rows})
        return
    table(
        "Images",
        ["name", "language", "state", "what it is"],
        [
            [
                row["name"],
                row["language"],
                "ready" if row["ready"] else "compiled" if row["compiled"] else "not built",
                row["description"],
            ]
            for row in rows
        ],
    )


@app.command()
def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of images; all if none is given.")
    ] = None,
    fuel: Annotated[bool, typer.Option("--fuel", help="Also compile for runs with fuel.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compile and warm images now, so that no run has to wait for it."""
    from cloche.engine.adapters.images import Images  # noqa: PLC0415
    from cloche.engine.catalogue import CATALOGUE  # noqa: PLC0415
    from cloche.limits.adapters.settings import guest_modules, load_limits  # noqa: PLC0415

    images = Images(load_limits(), modules=guest_modules(), progress=ImageProgress())
    built = []
    for name in names or list(CATALOGUE):
        image = images.get(name)
        if fuel:
            images.get(name, fuel=True)
        built.append({"name": name, "id": image.id})
        if not as_json:
            typer.echo(f"{name} is ready ({image.id[:12]})")
    if as_json:
        print_json({"images": built})


@app.command()
def prune(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove what other versions of cloche, and other environments, have left in the cache."""
    from cloche.engine.adapters.images import Images  # noqa: PLC0415
    from cloche.limits.adapters.settings import guest_modules, load_limits  # noqa: PLC0415

    images = Images(load_limits(), modules=guest_modules())
    count, size_bytes = images.cache.prune(images.used_files())
    if as_json:
        print_json({"removed": count, "size_bytes": size_bytes})
    else:
        typer.echo(f"removed {count} files, {size_bytes >> 20:,} MiB, of {images.cache.root}")
