"""Whether every crate can be published: what its manifest says, and what its package holds.

Packages all of them, as they would be uploaded, and checks each from its package alone. Prints one
line for each crate and exits 1 when something is missing.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

# What a registry shows of a crate, and what lets anybody find and use it.
STATED = ["description", "license", "repository", "keywords", "categories", "readme", "rust_version"]
HELD = {"LICENSE-MIT", "LICENSE-APACHE", "README.md", "Cargo.toml", "src/lib.rs"}
# Keys that a package may hold: those of the simulation's model peers, which are public.
KEYS = {"smallrtc-sim": {"fixtures/bot.key.der", "fixtures/page.key.der"}}
# No crate holds anything large; one that grows beyond this took something in by mistake.
LEN_MAX = 3 * 1024 * 1024


def cargo(*arguments, **options):
    subprocess.run(["cargo", *arguments], check=True, **options)


def published():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    crates = [crate for crate in metadata["packages"] if crate["publish"] != []]
    return sorted(crates, key=lambda crate: crate["name"]), metadata["target_directory"]


def faults(crate, archive):
    held = {member.name.split("/", 1)[1]: member.size for member in archive.getmembers()}
    missing = [f"says no {field}" for field in STATED if not crate[field]]
    missing += [f"lacks {name}" for name in sorted(HELD - held.keys())]
    empty = [name for name in HELD & held.keys() if held[name] < 50]
    missing += [f"{name} is empty" for name in empty]
    keys = {name for name in held if name.endswith((".key.der", ".pem", ".key"))}
    missing += [f"holds a key: {name}" for name in sorted(keys - KEYS.get(crate["name"], set()))]
    length = sum(held.values())
    if length > LEN_MAX:
        missing.append(f"holds {length} bytes")
    print(f"package: {crate['name']}: {len(held)} files, {length // 1024} KiB")
    return [f"{crate['name']} {fault}" for fault in missing]


def checks_alone(paths, target):
    """Checks the packages, each against the packages of the others, far from the tree they are of."""
    with tempfile.TemporaryDirectory(dir=target) as folder:
        for path in paths.values():
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        folders = {name: os.path.basename(path)[: -len(".crate")] for name, path in paths.items()}
        with open("Cargo.toml", encoding="utf-8") as manifest:
            profiles = manifest.read().split("[profile.dev]", 1)[1]
        with open(os.path.join(folder, "Cargo.toml"), "w", encoding="utf-8") as manifest:
            manifest.write(f"[workspace]\nresolver = '3'\nmembers = {list(folders.values())}\n")
            manifest.write("[patch.crates-io]\n")
            manifest.writelines(f"{name}.path = '{path}'\n" for name, path in folders.items())
            manifest.write(f"[profile.dev]{profiles}")
        # The versions that everything else was tested with.
        shutil.copy("Cargo.lock", folder)
        # The same directory as that of the targets' check, and as little as it: no C is compiled.
        stand_in = os.path.abspath("tests/checks/no-compiler")
        host = subprocess.run(["rustc", "--print", "host-tuple"], check=True, capture_output=True)
        host = host.stdout.decode().strip()
        name = host.replace("-", "_")
        environment = {**os.environ, f"CC_{name}": stand_in, f"AR_{name}": stand_in}
        environment |= {"RUSTFLAGS": "-D warnings", "AWS_LC_SYS_PREBUILT_NASM": "1"}
        environment["CARGO_TARGET_DIR"] = os.path.join(target, "targets")
        cargo("check", "--quiet", "--workspace", "--target", host, cwd=folder, env=environment)
    print(f"package: {len(paths)} crates build from their packages alone")


def main():
    crates, target = published()
    names = [part for crate in crates for part in ("-p", crate["name"])]
    # Not verified by this: `checks_alone` does the same without compiling C a second time.
    cargo("package", "--quiet", "--locked", "--no-verify", "--allow-dirty", *names)
    found, paths = [], {}
    for crate in crates:
        file = f"{crate['name']}-{crate['version']}.crate"
        paths[crate["name"]] = os.path.join(target, "package", file)
        with tarfile.open(paths[crate["name"]]) as archive:
            found += faults(crate, archive)
    checks_alone(paths, target)
    for fault in found:
        print("FAILED", fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
