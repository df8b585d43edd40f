{{/* Accounts with rules in the values, as a list in YAML. */}}
{{- define "powerstream-gateway.ruleAccounts" -}}
{{- concat (keys .Values.rules.sets) (keys .Values.rules.files) | uniq | sortAlpha | toYaml -}}
{{- end -}}

{{/* Contents of the ConfigMap of an account: a list of the root and the account. Rules of values are in one file, whose name
never changes, so that no change of a rule replaces the pod. */}}
{{- define "powerstream-gateway.ruleFiles" -}}
{{- $root := index . 0 -}}
{{- $account := index . 1 -}}
{{- $files := deepCopy (get $root.Values.rules.files $account | default dict) -}}
{{- with get $root.Values.rules.sets $account -}}
{{- $_ := set $files "rules.yaml" (toYaml .) -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{/* Paths of the rule files of an account, as a list in YAML: a list of the root and the account. */}}
{{- define "powerstream-gateway.rulePaths" -}}
{{- $paths := list -}}
{{- $account := index . 1 -}}
{{- range $file := include "powerstream-gateway.ruleFiles" . | fromYaml | keys | sortAlpha -}}
{{- $paths = append $paths (printf "/etc/powerstream-gateway/rules/%s/%s" $account $file) -}}
{{- end -}}
{{- toYaml $paths -}}
{{- end -}}

{{/* Name of the volume with the rules of an account. */}}
{{- define "powerstream-gateway.ruleVolume" -}}
{{- if gt (len .) 57 -}}
{{- printf "rules-%s" (sha256sum . | trunc 40) -}}
{{- else -}}
{{- printf "rules-%s" . -}}
{{- end -}}
{{- end -}}

{{/* Fails if rules are of no account, or cannot be read. */}}
{{- define "powerstream-gateway.validateRules" -}}
{{- $accounts := list -}}
{{- range .Values.config.accounts -}}{{- $accounts = append $accounts .name -}}{{- end -}}
{{- range $account := include "powerstream-gateway.ruleAccounts" . | fromYamlArray -}}
{{- if not (has $account $accounts) -}}
{{- fail (printf "rules of %q: config.accounts has no such account; there are %s" $account (join ", " $accounts)) -}}
{{- end -}}
{{- if and (hasKey $.Values.rules.sets $account) (not (get $.Values.rules.sets $account)) -}}
{{- fail (printf "rules.sets.%s has no rule: an empty file changes nothing at X, because a failed mount looks the same. Remove the key; to delete all rules, use `powerstream-gateway rules apply --force`" $account) -}}
{{- end -}}
{{- $size := 0 -}}
{{- range $file, $text := include "powerstream-gateway.ruleFiles" (list $ $account) | fromYaml -}}
{{- if not (regexMatch "^[A-Za-z0-9][-A-Za-z0-9_.]*[.](yaml|yml|json)$" $file) -}}
{{- fail (printf "rules.files.%s: %q is not the name of a rule file: it ends in .yaml, .yml or .json" $account $file) -}}
{{- end -}}
{{- if and (eq $file "rules.yaml") (hasKey $.Values.rules.sets $account) (hasKey (get $.Values.rules.files $account | default dict) $file) -}}
{{- fail (printf "rules.files.%s: rules.yaml is the file of rules.sets.%s; give it another name" $account $account) -}}
{{- end -}}
{{- if not (trim $text) -}}
{{- fail (printf "rules.files.%s: %s is empty: an empty file changes nothing at X" $account $file) -}}
{{- end -}}
{{- $size = add $size (len $text) -}}
{{- end -}}
{{- if gt (int $size) 1000000 -}}
{{- fail (printf "rules of %s have %d bytes, and a ConfigMap at most 1 MiB: mount further files by extraVolumes, and name them in config.accounts[].rules.files" $account (int $size)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
