# ruff: noqa: T201
"""The apps of the tests' framework; it runs in an environment of its own, with what its lock has."""

import json
import os
import sys
from pathlib import Path


def train():
    rate = float(sys.argv[sys.argv.index("--rate") + 1])
    rows = Path("sets/messages/train.jsonl").read_text().splitlines()
    weight, losses = 0.0, []
    for _ in range(10):
        losses.append((weight - 3) ** 2)
        weight -= rate * 2 * (weight - 3)
    Path("saves").mkdir()
    Path("saves/log.jsonl").write_text("".join(json.dumps({"loss": each}) + "\n" for each in losses))
    Path("saves/weights.json").write_text(json.dumps(weight))
    print(f"trained on {len(rows)} rows")


def api():
    import bottle

    def guard():
        if bottle.request.headers.get("Authorization") != f"Bearer {os.environ['PROOF_KEY']}":
            raise bottle.HTTPError(401, "no key")

    @bottle.get("/health")
    def health():
        return "well"

    @bottle.get("/v1/models")
    def models():
        guard()
        return {"data": [{"id": "proof"}]}

    @bottle.post("/v1/chat/completions")
    def chat():
        guard()
        tokens = bottle.request.json["max_tokens"]
        message = {"role": "assistant", "content": "so " * tokens}
        return {"choices": [{"message": message}], "usage": {"completion_tokens": tokens}}

    serve(bottle)


PAGE = """<!doctype html><title>Proof of a page</title>
<div class="block"><label>Model name</label><input></div>
<div class="block"><label>Dataset</label><input onclick="document.querySelector('ul').hidden = false"></div>
<ul role="listbox" hidden><li>messages</li></ul>
"""


def webui():
    import bottle

    bottle.get("/")(lambda: PAGE)
    serve(bottle)


def serve(bottle):
    bottle.run(host=os.environ["PROOF_HOST"], port=int(os.environ["PROOF_PORT"]), quiet=True)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
