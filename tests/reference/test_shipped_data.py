import json

from reference.inventory import verification
from reference.packing import MANIFEST, manifest
from training.dataset import DATA, SPLITS, samples


def test_the_shipped_data_obey_every_law_and_are_what_the_manifest_says():
    paths = sorted(DATA.glob("*/*.h5"))
    found = verification(paths)
    assert found.complaints == []
    stated = json.loads((DATA / MANIFEST).read_text(encoding="utf-8"))
    assert stated == manifest(DATA)
    assert found.n_records == sum(of["n_records"] for of in stated["sets"].values())
    assert sum(path.stat().st_size for path in paths) < 25e6


def test_every_split_of_every_shipped_set_can_be_read():
    stated = json.loads((DATA / MANIFEST).read_text(encoding="utf-8"))
    for name, of in stated["sets"].items():
        for split in (split for split in SPLITS if of["splits"][split]):
            assert len(samples([name], split)) == of["splits"][split]
