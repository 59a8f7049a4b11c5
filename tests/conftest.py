"""What all tests share."""

from hypothesis import settings

pytest_plugins = ["small_recognizer_fixtures"]

settings.register_profile("any machine", deadline=None)  # a busy one is no failure
settings.load_profile("any machine")
