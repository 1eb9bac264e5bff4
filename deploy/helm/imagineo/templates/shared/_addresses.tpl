{{/* What an address says, and whether the NetworkPolicies let pods out to it. */}}

{{/* The port of `host:port`, `[v6]:port` or a URL, else its scheme's. In: address. Out: text; empty if it says none. */}}
{{- define "imagineo.addressPort" -}}
{{- $host := regexReplaceAll "^[a-z0-9]+://" .address "" | regexFind "^[^/?&#]*" -}}
{{- $said := regexFind ":[0-9]+$" $host | trimPrefix ":" -}}
{{- $said | default (get (dict "https" "443" "http" "80") (regexFind "^https?" .address)) -}}
{{- end }}

{{/* The host of the same, without its port. In: address. Out: text. */}}
{{- define "imagineo.addressHost" -}}
{{- regexReplaceAll "^[a-z0-9]+://" .address "" | regexFind "^[^/?&#]*" | regexFind "^(\\[[^]]*\\]|[^:]*)" -}}
{{- end }}

{{/*
Addresses that values name outside of the release, with the port that the NetworkPolicies let pods out to for each.
In: root. Out: JSON list of dicts `value`, `address`, `portValue`, `port`, `peers`.
*/}}
{{- define "imagineo.outsideAddresses" -}}
{{- $found := list -}}
{{- range splitList "," .Values.nats.servers }}
{{- if trim . }}{{ $found = append $found (dict "value" "nats.servers" "address" (trim .) "of" "nats") }}{{ end }}
{{- end }}
{{- with regexFind "[?&]endpoint=[^&]+" .Values.blobs.url }}
{{- $found = append $found (dict "value" "blobs.url" "address" (regexReplaceAll "^.endpoint=" . "" | replace "%3A" ":" | replace "%3a" ":" | replace "%2F" "/" | replace "%2f" "/") "of" "blobs") }}
{{- end }}
{{- with .Values.tracing.endpoint }}{{ $found = append $found (dict "value" "tracing.endpoint" "address" . "of" "tracing") }}{{ end }}
{{- $wrong := list }}
{{- if .Values.networkPolicy.enabled }}
{{- range $found }}
{{- $said := include "imagineo.addressPort" . }}
{{- $let := get (get $.Values .of) "port" | toString }}
{{- if and $said (ne $said $let) }}
{{- $host := include "imagineo.addressHost" . }}
{{- /* A Service may lead to another port of its pods, and a policy counts that of the pods. */}}
{{- $inside := or (regexMatch "^[^.\\[]*(\\.[^.]*)?$" $host) (regexMatch "\\.svc(\\.|$)" $host) (get (get $.Values .of) "peers") }}
{{- $wrong = append $wrong (dict "value" .value "address" .address "said" $said "let" $let "portValue" (printf "%s.port" .of) "inside" (not (not $inside))) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $wrong }}
{{- end }}
