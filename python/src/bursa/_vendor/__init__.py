"""Third-party code carried along unchanged; see NOTICE."""
