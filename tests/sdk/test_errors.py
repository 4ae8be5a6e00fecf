import re

import pytest

from rhocast import errors
from rhocast.errors import InvalidRequest, NotFound, RhocastError, ServerError, ServiceUnavailable, error_from_problem


def below(root: type[RhocastError]) -> list[type[RhocastError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in below(child))]


@pytest.mark.parametrize("kind", below(RhocastError), ids=lambda kind: kind.__name__)
def test_every_class_survives_the_wire(kind):
    error = error_from_problem(kind.__name__, kind.status, "found this")
    assert type(error) is kind
    assert error.detail == str(error) == "found this"
    assert error.status == kind.status


def test_the_drawn_tree_is_the_tree_of_classes():
    drawn: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"    ([│├└─ ]*)([A-Z]\w+)", line)
        if found:
            drawn.append((len(found.group(1)) // 4, found.group(2)))
    assert drawn == tree(RhocastError, 0)


def tree(root: type[RhocastError], depth: int) -> list[tuple[int, str]]:
    children = [line for child in root.__subclasses__() for line in tree(child, depth + 1)]
    return [(depth, root.__name__), *children]


def test_the_drawn_statuses_are_those_of_the_classes():
    for name, status in re.findall(r"(\w+) \((\d+)\)", errors.__doc__):
        assert getattr(errors, name).status == int(status)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, NotFound), (503, ServiceUnavailable), (500, ServerError), (418, InvalidRequest), (599, ServerError)],
)
def test_an_unknown_name_is_the_nearest_class_by_status(status, kind):
    error = error_from_problem("Unheard", status, "found it")
    assert type(error) is kind
    assert error.status == status
