"""``python -m podwright``: the podwright command."""

from podwright.cli.main import main

main()
