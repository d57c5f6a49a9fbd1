"""A shop that tells Lynceus what it shows and what people click: `flask --app examples.shop run`.

The decision token travels through the page: the click needs nothing but its link. While Kafka is away, events wait in
the folder `spill`, and the shop does not notice.
"""

import secrets
from pathlib import Path

from flask import Flask, redirect, request, url_for
from werkzeug import Response

from producers.sdk import Tracker


def create_app(tracker: Tracker | None = None) -> Flask:
    """Return the shop. Processes that share its pages share `token_keys`; this one makes up its own."""
    app = Flask(__name__)
    lynceus = tracker or Tracker(token_keys=[secrets.token_bytes(32)], when_away="spill", spill_to=Path("spill"))

    @app.get("/")
    def home() -> str:
        user = request.args.get("user", "u-1")
        arm = lynceus.assign(user, "home.hero", {"personalized": 80, "context_blind": 10, "holdout": 10})
        items = ["new", "loved", "yours"] if arm == "personalized" else ["first", "second", "third"]
        decision = lynceus.decide(user=user, surface="home.hero", arm=arm, policy="hero-1", items=items, channel="web")
        for item in items:
            lynceus.impression(decision, item)
        token = lynceus.dumps(decision)
        return "".join(f'<p><a href="{url_for("click", item=item, decision=token)}">{item}</a></p>' for item in items)

    @app.get("/item/<item>")
    def click(item: str) -> Response:
        decision = lynceus.loads(request.args["decision"])
        lynceus.click(decision, item)
        lynceus.conversion(decision, "view_item", item=item)
        return redirect(url_for("home"))

    return app
