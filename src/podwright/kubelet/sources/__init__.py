"""Where Pods come from: the API, a directory of manifests, a URL."""
