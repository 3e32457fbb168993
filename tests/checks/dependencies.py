"""Licences, minimum Rust versions and purity of the dependency trees, from `cargo metadata`.

Prints one line for each check and exits 1 when one fails.
"""

import json
import re
import subprocess
import sys

ALLOWED = {
    "MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC",
    "OpenSSL", "Unicode-3.0", "Zlib", "0BSD", "Unlicense", "CC0-1.0", "MIT-0", "BSL-1.0",
}
# Weak copyleft, of files: for what a user asks for by a feature alone.
OPTIONAL = {"MPL-2.0": re.compile(r"symphonia(-[a-z0-9-]+)?")}
# What would bring a socket, a thread pool, a reactor or a clock of its own into the core.
IMPURE = {
    "mio", "tokio", "smol", "async-io", "async-executor", "blocking", "socket2", "polling", "hyper",
    "quinn-udp", "rustls", "crossbeam-channel", "rayon", "chrono", "if-addrs", "signal-hook",
}


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, capture_output=True, text=True).stdout


def licence_is_fine(expression):
    """Whether one of the alternatives is allowed in all its parts."""
    expression = (expression or "").replace("/", " OR ")
    while "(" in expression:
        inner = re.search(r"\(([^()]*)\)", expression)
        fine = "MIT" if licence_is_fine(inner.group(1)) else "REFUSED"
        expression = expression.replace(inner.group(0), fine)
    return any(
        all(part.strip() in ALLOWED for part in alternative.split(" AND "))
        for alternative in expression.split(" OR ")
    )


def package_is_fine(package):
    of_feature = OPTIONAL.get(package["license"])
    fine = licence_is_fine(package["license"])
    return fine or bool(of_feature and of_feature.fullmatch(package["name"]))


def version(text):
    return tuple(int(part) for part in (text.split(".") + ["0", "0"])[:3])


def names(*arguments):
    lines = cargo("tree", "--edges", "normal", "--prefix", "none", *arguments).splitlines()
    return {line.split()[0] for line in lines if line.strip()}


def main():
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--all-features", "--locked"))
    packages = metadata["packages"]
    ours = [package for package in packages if package["source"] is None]
    failures = []

    refused = [p for p in packages if p["source"] and not package_is_fine(p)]
    failures += [f"licence: {p['name']} {p['version']}: {p['license']}" for p in refused]
    print(f"licences: {len(packages)} packages, {len(refused)} refused")

    stated = version(ours[0]["rust_version"])
    # Only what a user builds counts: tests may need a newer compiler.
    shipped = names("--workspace", "--target", "all")
    newer = [
        p for p in packages
        if p["name"] in shipped and p["rust_version"] and version(p["rust_version"]) > stated
    ]
    failures += [f"rust-version: {p['name']} {p['version']}: {p['rust_version']}" for p in newer]
    differing = [p["name"] for p in ours if version(p["rust_version"]) != stated]
    failures += [f"rust-version: {name} differs from the workspace's" for name in differing]
    print(f"rust-version: stated {'.'.join(map(str, stated))}, {len(newer)} need a newer one")

    for features in (["--all-features"], ["--no-default-features"]):
        impure = sorted(names("-p", "smallrtc", *features) & IMPURE)
        failures += [f"purity {features[0]}: {name}" for name in impure]
        print(f"purity {features[0]}: {len(impure)} crates with I/O")

    registry = {p["source"] for p in packages if p["source"]}
    foreign = [source for source in registry if not source.startswith("registry+")]
    failures += [f"source: {source}" for source in foreign]
    print(f"sources: {len(foreign)} outside the registry")

    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
