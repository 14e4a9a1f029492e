#!/usr/bin/env bash
# Follows the inbox with curl: prints each message, and resumes after the last one.
set -euo pipefail

url=${TICKETWIRE_URL:-http://127.0.0.1:8080/graphql}
email=${TICKETWIRE_EMAIL:-customer@demo.example}
password=${TICKETWIRE_PASSWORD:-ticketwire-demo}
json='Content-Type: application/json'

sign_in() {
    curl --silent --fail "$url" --header "$json" --data "{\"query\":
        \"mutation { signIn(input: { email: \\\"$email\\\", password: \\\"$password\\\" }) { session { token } } }\"}" |
        sed -n 's/.*"token":"\([^"]*\)".*/\1/p'
}

# A cursor from before everything that is read later.
event_cursor() {
    curl --silent --fail "$url" --header "$json" --header "Authorization: Bearer $1" \
        --data '{"query": "{ eventCursor }"}' | sed -n 's/.*"eventCursor":"\([^"]*\)".*/\1/p'
}

# Without even a heartbeat for 40 seconds the connection is dead: curl gives up.
stream() {
    curl --silent --no-buffer --speed-limit 1 --speed-time 40 "$url" \
        --header 'Accept: text/event-stream' --header "$json" \
        --header "Authorization: Bearer $1" --header "Last-Event-ID: $2" \
        --data '{"query": "subscription { inboxEvents { __typename ... on CommentAdded { comment { body } } ... on ResyncRequired { reason } } }"}'
}

token=$(sign_in)
last=$(event_cursor "$token")
while :; do
    id= data=
    while IFS= read -r line; do
        case $line in
        'id: '*) id=${line#id: } ;;
        'data: '*) data=${line#data: } ;;
        '')
            # An empty line ends an event: process it, then remember its id.
            [ -z "$data" ] || printf '%s\n' "$data"
            [ -z "$id" ] || last=$id
            case $data in
            *'"UNAUTHENTICATED"'*) token=$(sign_in) || true ;;
            *'"ResyncRequired"'*) until last=$(event_cursor "$token"); do sleep 1; done ;;
            esac
            id= data=
            ;;
        esac
    done < <(stream "$token" "$last" || true)
    sleep 1
done
