"""The text format, as Prometheus reads it."""

from __future__ import annotations

from appliance.metrics.exposition import Sample, exposition


def test_ok__families_help_labels_and_names():
    text = exposition(
        [
            Sample("waypost_page_watchers", 2.0, "Open pages."),
            Sample("disco-sent/total", 7, kind="counter"),
            Sample("route", 1, labels={"Prefix": "10.0.0.0/8"}),
            Sample("peers", 0.25),
            Sample("route", 0, labels={"prefix": 'a"b\\c\nd'}),
        ]
    )
    assert text == (
        "# TYPE waypost_disco_sent_total counter\nwaypost_disco_sent_total 7\n"
        "# HELP waypost_page_watchers Open pages.\n# TYPE waypost_page_watchers gauge\nwaypost_page_watchers 2\n"
        "# TYPE waypost_peers gauge\nwaypost_peers 0.25\n"
        '# TYPE waypost_route gauge\nwaypost_route{prefix="10.0.0.0/8"} 1\nwaypost_route{prefix="a\\"b\\\\c\\nd"} 0\n'
    )


def test_ok__nothing():
    assert exposition([]) == ""
