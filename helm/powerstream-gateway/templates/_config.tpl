{{/* "true" if the gRPC port speaks TLS. */}}
{{- define "powerstream-gateway.grpcTls" -}}
{{- if dig "grpc" "tls" "cert_file" "" .Values.config -}}true{{- end -}}
{{- end -}}

{{/* "true" if the admin port speaks TLS. */}}
{{- define "powerstream-gateway.adminTls" -}}
{{- if dig "admin" "tls" "cert_file" "" .Values.config -}}true{{- end -}}
{{- end -}}

{{/* "true" if callers can be authenticated. */}}
{{- define "powerstream-gateway.hasAuthenticator" -}}
{{- $auth := .Values.config.auth | default dict -}}
{{- if or $auth.token_files $auth.certificates $auth.jwt -}}true{{- end -}}
{{- end -}}

{{/* "true" if the pods share a log on NATS: they may then be more than one. */}}
{{- define "powerstream-gateway.replicated" -}}
{{- if eq (dig "replication" "backend" "none" .Values.config) "nats" -}}true{{- end -}}
{{- end -}}

{{/* Ports of the NATS servers as a YAML list of numbers. */}}
{{- define "powerstream-gateway.natsPorts" -}}
{{- $ports := list -}}
{{- range $server := dig "replication" "nats" "servers" list .Values.config -}}
{{- $port := regexFind ":[0-9]+/?$" $server | trimPrefix ":" | trimSuffix "/" | default "4222" -}}
{{- $ports = append $ports (int $port) -}}
{{- end -}}
{{- toYaml (uniq $ports) -}}
{{- end -}}

{{/* Fails if the values of replication contradict each other. */}}
{{- define "powerstream-gateway.validateReplication" -}}
{{- $replicas := int .Values.replicas -}}
{{- if not (include "powerstream-gateway.replicated" .) -}}
{{- if gt $replicas 1 -}}
{{- fail (printf "replicas is %d, and config.replication.backend is none: each pod would open a connection of its own to X, and they would disconnect each other. Set config.replication (backend: nats, nats.servers, stream_bytes_max) and config.token_key_files, or replicas: 1" $replicas) -}}
{{- end -}}
{{- else -}}
{{- if dig "replication" "name" "" .Values.config -}}
{{- fail "config.replication.name is set by the chart: it is the name of the pod" -}}
{{- end -}}
{{- if not .Values.config.token_key_files -}}
{{- fail "config.replication.backend: nats needs config.token_key_files: replicas verify each other's resume tokens. Mount a Secret with one key for all pods, as in config.token_key_files: [/etc/powerstream-gateway/secrets/token-key/key]" -}}
{{- end -}}
{{- if not (dig "replication" "nats" "servers" list .Values.config) -}}
{{- fail "config.replication.backend: nats needs config.replication.nats.servers: the chart installs no NATS. Name the servers of an existing one, as in [nats://nats.nats.svc:4222]" -}}
{{- end -}}
{{- if not (dig "replication" "stream_bytes_max" 0 .Values.config | int64) -}}
{{- fail "config.replication.backend: nats needs config.replication.stream_bytes_max: JetStream reserves it on each of its nodes, for each account" -}}
{{- end -}}
{{- if and .Values.persistence.enabled .Values.persistence.existingClaim -}}
{{- fail "persistence.existingClaim with config.replication.backend: nats: each replica needs a volume of its own, which may be empty. Leave existingClaim out" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whole seconds of a duration such as `1m 30s`, rounded down. */}}
{{- define "powerstream-gateway.seconds" -}}
{{- $total := 0 -}}
{{- range regexFindAll "[0-9]+ *[A-Za-z]+" . -1 -}}
{{- $number := regexFind "[0-9]+" . | int -}}
{{- $unit := regexFind "[A-Za-z]+" . -}}
{{- if has $unit (list "s" "sec" "secs" "second" "seconds") -}}
{{- $total = add $total $number -}}
{{- else if has $unit (list "m" "min" "mins" "minute" "minutes") -}}
{{- $total = add $total (mul 60 $number) -}}
{{- else if has $unit (list "h" "hr" "hrs" "hour" "hours") -}}
{{- $total = add $total (mul 3600 $number) -}}
{{- end -}}
{{- end -}}
{{- $total -}}
{{- end -}}

{{/* Fails if the values are unsafe or contradict each other. */}}
{{- define "powerstream-gateway.validate" -}}
{{- $config := .Values.config -}}
{{- $auth := $config.auth | default dict -}}
{{- if not $config.accounts -}}
{{- fail "config.accounts is empty: name at least one account, as in config.accounts: [{name: main, bearer: {file: /etc/powerstream-gateway/secrets/x/bearer}}]" -}}
{{- end -}}
{{- range $key := list "data_dir" "grpc.address" "admin.address" -}}
{{- $own := splitList "." $key -}}
{{- $section := ternary $config (get $config (first $own) | default dict) (eq (len $own) 1) -}}
{{- if hasKey $section (last $own) -}}
{{- fail (printf "config.%s is set by the chart: use listenHost, service.port, admin.port and persistence" $key) -}}
{{- end -}}
{{- end -}}
{{- if not .Values.auth.allowAnonymous -}}
{{- if not (include "powerstream-gateway.hasAuthenticator" .) -}}
{{- fail "config.auth has no authenticator: every client that reaches the port could read all posts. Configure config.auth.token_files, config.auth.jwt or config.auth.certificates, or set auth.allowAnonymous: true" -}}
{{- end -}}
{{- if dig "anonymous" "roles" list $auth -}}
{{- fail "config.auth.anonymous.roles gives rights to callers without a credential: set auth.allowAnonymous: true if that is intended" -}}
{{- end -}}
{{- end -}}
{{- if and $auth.certificates (not (has (dig "grpc" "tls" "client_auth" "none" $config) (list "optional" "required"))) -}}
{{- fail "config.auth.certificates needs config.grpc.tls.client_auth: optional or required" -}}
{{- end -}}
{{- if and (contains "/var/run/secrets/kubernetes.io/serviceaccount" (toYaml $auth)) (not .Values.serviceAccount.automountToken) -}}
{{- fail "config.auth names files of the service account: set serviceAccount.automountToken: true" -}}
{{- end -}}
{{- if and (ne .Values.service.type "ClusterIP") (not (include "powerstream-gateway.grpcTls" .)) (not .Values.service.allowPlaintext) -}}
{{- fail (printf "service.type %s without config.grpc.tls: tokens and posts would leave the cluster in clear text. Configure TLS, or set service.allowPlaintext: true if the load balancer ends it" .Values.service.type) -}}
{{- end -}}
{{- if eq (dig "admin" "tls" "client_auth" "none" $config) "required" -}}
{{- fail "config.admin.tls.client_auth: required: the probes of the kubelet have no certificate. Use optional" -}}
{{- end -}}
{{- $stop := $config.shutdown_timeout | default "25s" -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (add 5 (include "powerstream-gateway.seconds" $stop | int) | int) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d: it must be at least 5 s longer than config.shutdown_timeout (%s), or pods are killed before their sessions are drained" (int .Values.terminationGracePeriodSeconds) $stop) -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if hasPrefix "POWERSTREAM_GATEWAY_" (toString .name) -}}
{{- fail (printf "extraEnv %s: settings belong below config, where the chart validates them" .name) -}}
{{- end -}}
{{- end -}}
{{- $dirs := concat (values .Values.secrets) (values .Values.test.secrets) -}}
{{- if ne (len (values .Values.secrets)) (len (uniq (values .Values.secrets))) -}}
{{- fail "secrets: two Secrets have the same directory" -}}
{{- end -}}
{{- range $dirs -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9_.]*[a-z0-9])?$" .) -}}
{{- fail (printf "secrets: %q is not the name of a directory: use a-z, 0-9, '-', '_' and '.'" .) -}}
{{- end -}}
{{- end -}}
{{- include "powerstream-gateway.validateReplication" . -}}
{{- include "powerstream-gateway.validateRules" . -}}
{{- end -}}

{{/* The configuration file as a dictionary in YAML: `config` and the keys of the chart. */}}
{{- define "powerstream-gateway.config" -}}
{{- include "powerstream-gateway.validate" . -}}
{{- $config := deepCopy .Values.config -}}
{{- $grpc := dict "address" (printf "%s:%d" .Values.listenHost (int .Values.service.port)) -}}
{{- if and .Values.auth.allowAnonymous (not (include "powerstream-gateway.hasAuthenticator" .)) (not (dig "auth" "anonymous" "roles" list $config)) -}}
{{- $_ := set $grpc "allow_unauthenticated" true -}}
{{- end -}}
{{- $admin := dict "address" (printf "%s:%d" .Values.listenHost (int .Values.admin.port)) -}}
{{- $own := dict "data_dir" "/var/lib/powerstream-gateway" "grpc" $grpc "admin" $admin -}}
{{- range $account := $config.accounts -}}
{{- $files := include "powerstream-gateway.rulePaths" (list $ $account.name) | fromYamlArray -}}
{{- if $files -}}
{{- $rules := $account.rules | default dict -}}
{{- $_ := set $account "rules" (merge (dict "files" (concat ($rules.files | default list) $files)) $rules) -}}
{{- end -}}
{{- end -}}
{{- mergeOverwrite $config $own | toYaml -}}
{{- end -}}

{{/* Removes the key with this path from a dictionary, and the sections that are empty after it. Lists: from each entry. */}}
{{- define "powerstream-gateway.unset" -}}
{{- $node := .node -}}
{{- $name := trimSuffix "[]" (first .path) -}}
{{- $rest := rest .path -}}
{{- if hasKey $node $name -}}
{{- $child := get $node $name -}}
{{- if not $rest -}}
{{- $_ := unset $node $name -}}
{{- else if kindIs "slice" $child -}}
{{- range $child -}}
{{- if kindIs "map" . -}}{{- include "powerstream-gateway.unset" (dict "node" . "path" $rest) -}}{{- end -}}
{{- end -}}
{{- else if kindIs "map" $child -}}
{{- include "powerstream-gateway.unset" (dict "node" $child "path" $rest) -}}
{{- if not $child -}}{{- $_ := unset $node $name -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The part of the configuration that takes effect only after a restart. files/live-keys.txt has the other keys. */}}
{{- define "powerstream-gateway.restartConfig" -}}
{{- $config := include "powerstream-gateway.config" . | fromYaml -}}
{{- range $key := splitList "\n" (.Files.Get "files/live-keys.txt" | trim) -}}
{{- include "powerstream-gateway.unset" (dict "node" $config "path" (splitList "." (replace "[]" "" $key))) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
