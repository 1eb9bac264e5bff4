{{/* What may be meant so and seldom is: the notes tell it. In: root. Out: text, a paragraph each. */}}
{{- define "imagineo.warnings" -}}
{{- $said := list }}
{{- if and .Values.nats.servers (lt (.Values.nats.replicas | int) 3) }}
{{- $said = append $said (printf "nats.replicas is %d: new streams lie on so many servers (0: on one), and a server that is lost takes its own with it. Set it to 3 for a cluster of three or more." (.Values.nats.replicas | int)) }}
{{- end }}
{{- range include "imagineo.outsideAddresses" . | fromJsonArray }}
{{- if .inside }}
{{- $said = append $said (printf "%s says port %s, and the NetworkPolicies let pods out to %s, which is %s. Right where a Service leads from the one to the other; else set %s to %s." .value .said .portValue .let .portValue .said) }}
{{- end }}
{{- end }}
{{- $public := include "imagineo.addressHost" (dict "address" .Values.publicUrl) }}
{{- if .Values.ingress.enabled }}
{{- if ne .Values.ingress.host $public }}
{{- $said = append $said (printf "ingress.host is %s, and publicUrl says %s: links to images lead to the latter." .Values.ingress.host $public) }}
{{- end }}
{{- if and (not .Values.ingress.tlsSecret) (hasPrefix "https://" .Values.publicUrl) }}
{{- $said = append $said "publicUrl says https, and ingress.tlsSecret is empty: something in front, or the controller's own certificate, has to speak TLS." }}
{{- end }}
{{- end }}
{{- if and .Values.gatewayApi.enabled .Values.gatewayApi.hostnames }}
{{- $wild := regexReplaceAll "^[^.]+" $public "*" }}
{{- if not (or (has $public .Values.gatewayApi.hostnames) (has $wild .Values.gatewayApi.hostnames)) }}
{{- $said = append $said (printf "gatewayApi.hostnames are %s, and publicUrl says %s: links to images lead to the latter." (join ", " .Values.gatewayApi.hostnames) $public) }}
{{- end }}
{{- end }}
{{- $slugs := ternary (list "starter") list .Values.models.starter }}
{{- range .Values.models.base }}{{ $slugs = append $slugs .slug }}{{ end }}
{{- range $pool, $_ := include "imagineo.pools" . | fromJson }}
{{- range (include "imagineo.pool" (dict "root" $ "pool" $pool) | fromJson).baseModels }}
{{- if not (has . $slugs) }}
{{- $said = append $said (printf "workerPools.%s.baseModels names %s, which is not in models.base: its workers wait until somebody adds it." $pool .) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $said }}
WARNING: {{ . }}
{{- end }}
{{- end }}
