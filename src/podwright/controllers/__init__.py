"""The controllers: a file each, on one small frame of informer, work queue and reconcile."""
