"""`python -m stream_app` is `lynceus`."""

from stream_app.cli import main

main()
