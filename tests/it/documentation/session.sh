# The shell that a page's examples run in: `ortus` and its friends as a reader
# calls them, on the ports that the running server has.

# A server in the background, in place of the one before; returns once it is ready.
serve() {
    stop
    rm -f "$PORTS" "$READY"
    mkfifo "$READY"
    # No load balancer needs time to notice its end.
    ORTUS_SERVER__DRAIN_DELAY=0s "$ORTUS" "$@" >"$READY" 2>>"$LOG" &
    SERVER=$!
    exec 7<"$READY"
    read -r line <&7
    case "$line" in
        "ready: "* | "not ready: "*) ;;
        *)
            cat "$LOG" >&2
            return 1
            ;;
    esac
    HTTP=$(port http) GRPC=$(port grpc) OPERATOR=$(port operator)
}

port() {
    sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/" "$PORTS"
}

stop() {
    if [ -n "${SERVER:-}" ]; then
        kill -TERM "$SERVER"
        wait "$SERVER"
        SERVER=
    fi
}
trap stop EXIT

# Commands that speak to a server do so on its default port; here it has others.
ortus() {
    local server=
    case "$1" in
        serve)
            serve "$@"
            return
            ;;
        demo)
            # It would serve until somebody ends it.
            [[ " $* " == *" --exit "* ]] || set -- "$@" --exit
            ;;
        models) server=$HTTP ;;
        predict)
            server=$HTTP
            [[ " $* " == *" --grpc "* ]] && server=$GRPC
            ;;
        replay) server=$GRPC ;;
        drift | explain | performance | report) server=$OPERATOR ;;
    esac
    [[ " $* " == *" --server "* ]] && server=
    "$ORTUS" "$@" ${server:+--server "$server"}
}

# What would watch for ever looks once.
ortus-trainer() {
    case "$1" in
        watch) set -- "$@" --once ;;
    esac
    "$TRAINER" "$@"
}

# What a reader builds and runs in one command is built already.
cargo() {
    case "$*" in
        "run --release -- "*) ortus "${@:4}" ;;
        "run --release -p ortus-trainer -- "*) ortus-trainer "${@:6}" ;;
        *)
            echo "cargo $* is no example that is run; mark the block" >&2
            return 1
            ;;
    esac
}
