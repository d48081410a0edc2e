# Sourced by the scripts of each peer. What is installed is what the lock file beside that `setup` says, and the mark
# in `ready` is that file's checksum, so that another lock is installed again. 3 is the word for "cannot be had here".

cannot() {
    echo "$*" >&2
    exit 3
}

# ready INTO LOCK
ready() {
    [ "$(cat "$1/ready" 2> /dev/null)" = "$(cksum < "$2")" ]
}

mark() {
    cksum < "$2" > "$1/ready"
}

# npm_into INTO HERE
npm_into() {
    ready "$1" "$2/package-lock.json" && return
    command -v npm > /dev/null || cannot "npm is not here; it comes with Node.js"
    mkdir -p "$1"
    cp "$2/package.json" "$2/package-lock.json" "$1/"
    npm ci --ignore-scripts --prefix "$1" --no-audit --no-fund --loglevel=error > "$1/setup.log" 2>&1 \
        || cannot "npm could not install what $2/package-lock.json lists: see $1/setup.log"
    mark "$1" "$2/package-lock.json"
}

# The peers on Node.js want a newer one than many machines have, so their locks bring one for Linux.
# with_node INTO SCRIPT ARGUMENTS...
with_node() {
    local dir node
    dir=$(cd "$1" && pwd)
    node=$(compgen -G "$dir/node_modules/node-linux-*/bin/node" || command -v node)
    shift
    exec "$node" "$1" "$dir" "${@:2}"
}

# pip_into INTO HERE
pip_into() {
    ready "$1" "$2/requirements.txt" && return
    python3 -c 'import venv, ensurepip' 2> /dev/null || cannot "python3 with its venv is not here"
    mkdir -p "$1"
    { python3 -m venv "$1/venv" && "$1/venv/bin/pip" install --quiet --disable-pip-version-check -r "$2/requirements.txt"; } \
        > "$1/setup.log" 2>&1 || cannot "pip could not install what $2/requirements.txt lists: see $1/setup.log"
    mark "$1" "$2/requirements.txt"
}

# cargo_into INTO WORKSPACE PACKAGE: each has a mark of its own, as they can share a folder.
cargo_into() {
    local mark="$1/ready-$3" sum
    sum=$(cat "$2/Cargo.lock" "$2/$3/Cargo.toml" "$2/$3/src/main.rs" | cksum)
    [ "$(cat "$mark" 2> /dev/null)" = "$sum" ] && return
    command -v cargo > /dev/null || cannot "cargo is not here"
    mkdir -p "$1"
    CARGO_TARGET_DIR="$1" cargo build --quiet --locked --release --manifest-path "$2/Cargo.toml" --package "peer-$3" \
        > "$1/setup-$3.log" 2>&1 || cannot "cargo could not build peer-$3: see $1/setup-$3.log"
    echo "$sum" > "$mark"
}
