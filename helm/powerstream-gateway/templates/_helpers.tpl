{{/* Full name: at most 52 characters, because the controller appends a hash to the name of a StatefulSet. */}}
{{- define "powerstream-gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "powerstream-gateway.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "powerstream-gateway.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "powerstream-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of the release, which select all its pods. */}}
{{- define "powerstream-gateway.releaseLabels" -}}
app.kubernetes.io/name: {{ include "powerstream-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels that select the gateway's pods, and not the pod of `helm test`. */}}
{{- define "powerstream-gateway.selector" -}}
{{ include "powerstream-gateway.releaseLabels" . }}
app.kubernetes.io/component: gateway
{{- end -}}

{{/* Labels of an object: a list of the root and the component. */}}
{{- define "powerstream-gateway.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "powerstream-gateway.name" $root)
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/component" (index . 1)
  "app.kubernetes.io/version" (toString $root.Chart.AppVersion)
  "app.kubernetes.io/managed-by" $root.Release.Service
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- toYaml (merge $own $root.Values.commonLabels) -}}
{{- end -}}

{{- define "powerstream-gateway.image" -}}
{{- $image := .Values.image -}}
{{- $registry := dig "imageRegistry" "" (.Values.global | default dict) | default $image.registry -}}
{{- $name := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "powerstream-gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "powerstream-gateway.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* "true" if an object of an API is wanted: a list of the root, `true`, `false` or `auto`, and the API. */}}
{{- define "powerstream-gateway.wanted" -}}
{{- $root := index . 0 -}}
{{- $wanted := index . 1 -}}
{{- if eq (toString $wanted) "auto" -}}
{{- if $root.Capabilities.APIVersions.Has (index . 2) -}}true{{- end -}}
{{- else if $wanted -}}true{{- end -}}
{{- end -}}

{{/* Name of the volume of a directory below /etc/powerstream-gateway/secrets. */}}
{{- define "powerstream-gateway.secretVolume" -}}
{{- printf "secret-%s" (. | replace "_" "-" | replace "." "-") | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Volumes of mounted Secrets: whole directories, never a subPath, which would not see a changed Secret. */}}
{{- define "powerstream-gateway.secretVolumes" -}}
{{- range $secret, $dir := . }}
- name: {{ include "powerstream-gateway.secretVolume" $dir }}
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "powerstream-gateway.secretMounts" -}}
{{- range $secret, $dir := . }}
- name: {{ include "powerstream-gateway.secretVolume" $dir }}
  mountPath: /etc/powerstream-gateway/secrets/{{ $dir }}
  readOnly: true
{{- end }}
{{- end -}}

{{/* Request of a probe: a list of the root and the path. */}}
{{- define "powerstream-gateway.probe" -}}
path: {{ index . 1 }}
port: admin
scheme: {{ ternary "HTTPS" "HTTP" (eq (include "powerstream-gateway.adminTls" (index . 0)) "true") }}
{{- end -}}
