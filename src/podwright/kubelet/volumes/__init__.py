"""The volumes of Pods: a module a type, set up below the Pod's directory and torn down in whatever state they are."""
