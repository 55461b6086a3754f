"""One small driver per family of libraries; each runs inside the environment of the library it drives."""
