"""The API client that scheduler, controllers, kubelet and network use: one client, two transports (HTTPS and
in-process). The code of a component cannot tell which one it has."""
