# Copies the tree to a directory under target/: what is committed and what is about to be, and
# nothing that is ignored. Sourced, at the root of the tree. Times are kept, so that what was built
# of the last copy is used again.
copy_tree() {
  mkdir -p "$1"
  git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --null --files-from=- --create | tar --extract --directory "$1"
}
