"""Fast tests first: those that train come last."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem.startswith(("test_model", "test_funnel_run", "test_examples")))
