{{- define "profiler.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "profiler.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "profiler.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "profiler.selector" -}}
app.kubernetes.io/name: profiler
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "profiler.labels" -}}
{{ include "profiler.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "profiler.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Whether only the node itself reaches the address. */}}
{{- define "profiler.loopback" -}}
{{- if or (hasPrefix "127." .Values.http.address) (eq .Values.http.address "::1") -}}yes{{- end -}}
{{- end -}}

{{/* The address as the agent wants it. */}}
{{- define "profiler.listen" -}}
{{- $address := .Values.http.address -}}
{{- if contains ":" $address }}{{ $address = printf "[%s]" $address }}{{ end -}}
{{- printf "%s:%d" $address (int .Values.http.port) -}}
{{- end -}}

{{/* What the agent would refuse is refused here. */}}
{{- define "profiler.check" -}}
{{- with .Values -}}
{{- if .http.enabled -}}
{{- $local := include "profiler.loopback" $ -}}
{{- if and (not $local) (not .http.tls.secretName) (not .http.insecurePlaintext) -}}
{{- fail (printf "http.address %s can be reached from other hosts: name a certificate (http.tls.secretName), or set http.insecurePlaintext" .http.address) -}}
{{- end -}}
{{- if and (not $local) (not .http.token.secretName) (not .http.tls.clientAuthority) (not .http.insecureNoAuth) -}}
{{- fail (printf "http.address %s can be reached from other hosts: name a token (http.token.secretName), set http.tls.clientAuthority, or set http.insecureNoAuth" .http.address) -}}
{{- end -}}
{{- if and .http.tls.clientAuthority (not .http.tls.secretName) -}}
{{- fail "http.tls.clientAuthority needs http.tls.secretName" -}}
{{- end -}}
{{- if and $local (not .hostNetwork) -}}
{{- fail "without hostNetwork nobody reaches http.address on the loopback interface: set http.address to 0.0.0.0, or http.enabled to false" -}}
{{- end -}}
{{- end -}}
{{- if and .podMonitor.enabled (or (not .http.enabled) (include "profiler.loopback" $)) -}}
{{- fail "podMonitor needs an http.address that Prometheus can reach" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A value in TOML. */}}
{{- define "profiler.value" -}}
{{- if kindIs "map" . -}}
{ {{ range $i, $key := keys . | sortAlpha }}{{ if $i }}, {{ end }}{{ toJson $key }} = {{ include "profiler.value" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $i, $one := . }}{{ if $i }}, {{ end }}{{ include "profiler.value" $one }}{{ end }}]
{{- else if kindIs "string" . -}}
{{ toJson . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{- define "profiler.config" -}}
output = {{ toJson .Values.storage.output }}
unwind-cache = {{ printf "%s/unwind" .Values.storage.cache | toJson }}
{{- range $key := keys .Values.config | sortAlpha }}
{{ $key }} = {{ include "profiler.value" (get $.Values.config $key) }}
{{- end }}
{{- with .Values.http }}
{{- if .enabled }}
http = {{ include "profiler.listen" $ | quote }}
{{- if .tls.secretName }}
http-tls-cert = "/run/profiler/tls/tls.crt"
http-tls-key = "/run/profiler/tls/tls.key"
{{- if .tls.clientAuthority }}
http-client-ca = "/run/profiler/tls/ca.crt"
{{- end }}
{{- end }}
{{- if .token.secretName }}
http-token-file = {{ printf "/run/profiler/token/%s" .token.key | toJson }}
{{- end }}
{{- if .insecurePlaintext }}
http-insecure-plaintext = true
{{- end }}
{{- if .insecureNoAuth }}
http-insecure-no-auth = true
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.uploads }}

[[upload]]
{{- $upload := . }}
{{- range $key := keys . | sortAlpha }}
{{ $key }} = {{ include "profiler.value" (get $upload $key) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "profiler.probe" -}}
{{- with .root.Values.http -}}
{{- if .tls.clientAuthority }}
tcpSocket:
  port: {{ .port }}
  {{- if include "profiler.loopback" $.root }}
  host: {{ .address | quote }}
  {{- end }}
{{- else }}
httpGet:
  path: {{ $.path }}
  port: {{ .port }}
  {{- if include "profiler.loopback" $.root }}
  host: {{ .address | quote }}
  {{- end }}
  {{- if .tls.secretName }}
  scheme: HTTPS
  {{- end }}
{{- end }}
{{- end -}}
{{- end -}}
