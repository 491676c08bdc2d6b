# Sourced before `ray start` on every machine, and before `sppnet` on the one that drives: both ends must have the same.
export PATH="$HOME/sppnet/bin:$PATH"
# The token is ~/.ray/auth_token on every machine: ray get-auth-token --generate; chmod 600 ~/.ray/auth_token
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"
export RAY_USAGE_STATS_ENABLED=0
export RAY_ENABLE_UV_RUN_RUNTIME_ENV=0
# Without pings a task on a node that is cut off never fails; a server takes them as often as its own value says.
export RAY_grpc_client_keepalive_time_ms=10000
export RAY_grpc_client_keepalive_timeout_ms=5000
