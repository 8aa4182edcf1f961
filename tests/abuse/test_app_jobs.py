"""Attack: an app floods the server with jobs, or reaches for the jobs of others."""

from __future__ import annotations

import pytest

from abuse.app_support import place

CODE = """
export default {
  async fetch(request, env) {
    let made = 0, refused = "";
    try {
      for (let n = 0; n < 1000; n++, made++)
        await env.jobs.spawn("work", n, { delayMs: 3600000 });
    } catch (error) { refused = String(error.code ?? error); }
    let large = "";
    try { await env.jobs.spawn("work", "x".repeat(900000)); } catch (error) { large = "refused"; }
    return Response.json({ made, refused, large });
  },
  job(job) { return 1; },
};
"""


@pytest.fixture(scope="module")
def world():
    """A server with a short queue."""
    with place(apps={"job_queue_length_max": 10}) as found:
        yield found


def test_a_storm(world):
    """So many jobs of an app wait and no more; another app has its own queue."""
    other = world.new_key("app", tenant="acme")
    for key, path in ((None, "/apps/storm/"), (other, "/apps/~acme/storm/")):
        world.deploy("storm", CODE, key=key, storage=["jobs"])
        found = world.get(path).document
        assert (found["made"], found["large"]) == (10, "refused")
        assert found["refused"]
        assert world.get(path).document["made"] == 0


def test_names_of_jobs(world):
    """What names no job of the app is none, however it is written."""
    code = """
    export default async (request, env) => {
      const found = [];
      const long = "x".repeat(100000);
      for (const id of ["", "*", "../x", "default/storm", "%", "\\u0000", long, null, 1, {}])
        try { found.push(await env.jobs.get(id)); } catch (error) { found.push(null); }
      return Response.json(found);
    };
    """
    world.deploy("thief", code, storage=["jobs"])
    assert set(map(str, world.get("/apps/thief/").document)) == {"None"}
