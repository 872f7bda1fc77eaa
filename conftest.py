"""This checkout's own hook implementations. The contract lives in the plugin: it holds with --noconftest."""
