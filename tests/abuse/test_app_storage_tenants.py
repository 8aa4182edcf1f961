"""Attack: an app reaches what another app, or another tenant's, has stored."""

from __future__ import annotations

import pytest

from abuse.app_support import place

CODE = """
export default async (request, env) => {
  const name = new URL(request.url).searchParams.get("name") ?? "key";
  const found = {};
  const attempt = async (what, work) => {
    try { found[what] = await work(); } catch (error) { found[what] = "refused"; }
  };
  await attempt("kv", () => env.kv.get(name));
  await attempt("docs", () => env.docs.find("owner", { name }));
  await attempt("blob", async () => (await env.blobs.get(name)) && "there");
  await attempt("sql", () => env.sql.query("SELECT * FROM secret"));
  await attempt("job", () => env.jobs.get(name));
  await attempt("attach", () => env.sql.execute(`ATTACH DATABASE '${name}' AS other`));
  return Response.json(found);
};
"""
OWNER = """
export default async (request, env) => {
  await env.kv.set("key", "owner-secret");
  await env.sql.execute("CREATE TABLE IF NOT EXISTS secret (a)");
  await env.sql.execute("INSERT INTO secret VALUES ('owner-secret')");
  return new Response(JSON.stringify(await env.jobs.spawn("work", "owner-secret")));
};
export const job = () => "owner-secret";
"""
STORAGE = ["kv", "docs", "blobs", "sql", "jobs"]


@pytest.fixture(scope="module")
def world():
    """A server on which one app has stored something."""
    with place() as found:
        found.other = found.new_key("admin", tenant="acme")
        found.deploy("owner", OWNER, storage=STORAGE)
        answer = found.get("/apps/owner/")
        assert answer.status == 200, answer.body
        found.job = answer.document if isinstance(answer.document, str) else "none"
        yield found


@pytest.mark.parametrize(("name", "is_other"), [("thief", False), ("thief", True), ("owner", True)])
def test_nothing_of_another_app(world, name, is_other):
    """Neither the same name in another tenant nor another name in the same one sees anything."""
    world.deploy(name, CODE, storage=STORAGE, key=world.other if is_other else None)
    prefix = f"/apps/~acme/{name}/" if is_other else f"/apps/{name}/"
    names = [
        "key", "../owner/key", "default/owner/key", "owner%2Fkey", "%25", "*", world.job,
        "..%2F..%2Fowner.db", "%2Fetc%2Fpasswd", "owner%00",
    ]  # fmt: skip
    for each in names:
        answer = world.get(f"{prefix}?name={each}")
        assert b"owner-secret" not in answer.body, answer.body
        assert answer.document["attach"] == "refused"


def test_what_no_manifest_names(world):
    """An app that names no storage has none."""
    world.deploy("bare", CODE)
    found = world.get("/apps/bare/").document
    assert {found[each] for each in ("kv", "docs", "blob", "sql", "job")} == {"refused"}


def test_after_a_removal(world):
    """An app of a name that was removed finds nothing of the one before."""
    world.deploy("again", OWNER, storage=STORAGE)
    world.get("/apps/again/")
    world.settle()
    world.ask("DELETE", "/v1/apps/again", key=world.key)
    world.deploy("again", CODE, storage=STORAGE)
    assert b"owner-secret" not in world.get("/apps/again/").body
    lines = world.get("/v1/apps/again/logs", key=world.key).document["items"]
    assert lines == []
