# SPDX-License-Identifier: GPL-2.0
"""pavraid.yaml and pav_netlink.h must say the same: names and numbers of commands, attributes, enumerations and limits."""
import re
from pathlib import Path

import pytest
import yaml

UAPI = Path(__file__).resolve().parents[2] / "kmod" / "uapi"
SPEC = yaml.safe_load((UAPI / "pavraid.yaml").read_text())
HEADER = re.sub(r"/\*.*?\*/", "", (UAPI / "pav_netlink.h").read_text(), flags=re.S)


def c_name(prefix, name):
    return (prefix + name).upper().replace("-", "_")


def header_enum(name):
    """The enumerators of an enum in the header and their numbers, without those that only count."""
    body = re.search(rf"enum {name} \{{(.*?)\}};", HEADER, re.S).group(1)
    names = [e.strip() for e in body.split(",") if e.strip()]
    assert all("=" not in n or n.split("=")[0].strip().endswith("_MAX") for n in names), "the header numbers nothing by hand"
    return {n: i for i, n in enumerate(names) if not n.startswith("__") and "=" not in n}


def header_constants():
    return dict(re.findall(r"#define\s+(PAV_\w+)\s+(.+)", HEADER))


def numbered(items, start=0):
    """Specification items with the numbers they get: one after the other, from each explicit value on."""
    number = start
    for item in items:
        number = item.get("value", number)
        yield item["name"], number
        number += 1


def test_commands():
    ops = SPEC["operations"]
    spec = {c_name(ops["name-prefix"], n): i for n, i in numbered(ops["list"])}
    header = header_enum(ops["enum-name"])
    assert header.pop("PAV_CMD_UNSPEC") == 0
    assert spec == header


def test_attributes():
    main = SPEC["attribute-sets"][0]
    spec = {c_name(main["name-prefix"], n): i for n, i in numbered(main["attributes"])}
    header = header_enum(main["enum-name"])
    assert header.pop("PAV_A_UNSPEC") == 0
    assert spec == header


@pytest.mark.parametrize("definition", [d for d in SPEC["definitions"] if d["type"] == "enum"], ids=lambda d: d["name"])
def test_enumerations(definition):
    spec = {c_name(definition["name-prefix"], n): i for n, i in numbered(definition["entries"])}
    assert spec == header_enum(definition["enum-name"])


def test_constants():
    def value(text):
        return eval(re.sub(r"(?<=\d)ULL\b", "", text), {"__builtins__": {}})  # "1ULL << 46"
    header = {n: t for n, t in header_constants().items() if re.fullmatch(r"[\d\sULx<()]+", t)}
    assert int(header.pop("PAV_GENL_VERSION")) == 1
    spec = {c_name("", d["name"]): d["value"] for d in SPEC["definitions"] if d["type"] == "const"}
    assert spec == {n: value(t) for n, t in header.items()}


def test_names():
    constants = header_constants()
    assert constants[SPEC["c-family-name"]].strip('"') == SPEC["name"]
    for group in SPEC["mcast-groups"]["list"]:
        assert constants[c_name("", group["c-define-name"])].strip('"') == group["name"]


def test_subsets_and_operations_name_known_attributes():
    main = SPEC["attribute-sets"][0]
    known = {a["name"] for a in main["attributes"]}
    sets = {s["name"] for s in SPEC["attribute-sets"]}
    for a in main["attributes"]:
        assert a["type"] != "nest" or a["nested-attributes"] in sets
    for s in SPEC["attribute-sets"][1:]:
        assert {a["name"] for a in s["attributes"]} <= known, s["name"]
    for op in SPEC["operations"]["list"]:
        for part in ("do", "dump"):
            for side in ("request", "reply"):
                assert set(op.get(part, {}).get(side, {}).get("attributes", [])) <= known, op["name"]
        assert set(op.get("event", {}).get("attributes", [])) <= known


def test_policies_cover_the_requests():
    """Each attribute that the specification lets a request have is in the policy of the module's command, and the other way round."""
    source = (UAPI.parent / "control" / "netlink.c").read_text()
    policies = {name: set(re.findall(r"\[(PAV_A_\w+)\]", body))
                for name, body in re.findall(r"static const struct nla_policy (\w+)\[\] = \{(.*?)\n\};", source, re.S)}
    table = re.search(r"static const struct genl_ops pav_ops\[\] = \{(.*?)\n\};", source, re.S).group(1)
    used = dict(re.findall(r"\.cmd = (PAV_CMD_\w+),.*?PAV_POLICY\((\w+)\)", table, re.S))
    for op in SPEC["operations"]["list"]:
        if "event" in op:
            continue
        request = (op.get("do") or op["dump"])["request"]["attributes"]
        assert {c_name("pav-a-", a) for a in request} == policies[used[c_name("pav-cmd-", op["name"])]], op["name"]


def test_changes_need_admin_in_both():
    source = (UAPI.parent / "control" / "netlink.c").read_text()
    table = re.search(r"static const struct genl_ops pav_ops\[\] = \{(.*?)\n\};", source, re.S).group(1)
    entries = re.split(r"\}, \{", table)
    for op in SPEC["operations"]["list"]:
        if "event" in op:
            continue
        entry, = (e for e in entries if c_name("pav-cmd-", op["name"]) + "," in e)
        assert ("admin-perm" in op.get("flags", [])) == ("PAV_NEEDS_ADMIN" in entry), op["name"]
