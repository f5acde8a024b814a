# The agent's secret comes from the environment (CHANCERY_CLIENT_SECRET) and goes to curl by a pipe, where `ps` does not show it.
TOKEN=$(printf 'user = "%s:%s"\n' "${CHANCERY_CLIENT_ID:-{client}}" "$CHANCERY_CLIENT_SECRET" |
  curl --silent --show-error --fail-with-body --config - {endpoint} \
    --data grant_type=client_credentials --data-urlencode resource={url} |
  sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p')
printf 'header = "Authorization: Bearer %s"\n' "$TOKEN" |
  curl --silent --show-error --config - {url} \
    --header 'Content-Type: application/json' --header 'Accept: application/json, text/event-stream' \
    --header 'MCP-Protocol-Version: 2025-11-25' \
    --data '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'
