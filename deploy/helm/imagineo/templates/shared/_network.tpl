{{/* Parts of NetworkPolicies: one end of an arrow each. Components and outside parties, by name. */}}

{{/* Head of a component's policy: both ways are closed but for what follows. In: root, name, hook (for a hook's pods). */}}
{{- define "imagineo.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "imagineo.metadata" . | nindent 2 }}
  {{- if .hook }}
  annotations:
    {{- include "imagineo.hook" "-5" | nindent 4 }}
  {{- end }}
spec:
  podSelector:
    matchLabels:
      {{- include "imagineo.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}

{{/* In: root, from (component names), port, peers (further ones). Out: items of `ingress`. */}}
{{- define "imagineo.ingress" -}}
- from:
    {{- range .from }}
    - podSelector:
        matchLabels:
          {{- include "imagineo.selector" (dict "root" $.root "name" .) | nindent 10 }}
    {{- end }}
    {{- with .peers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports: [{protocol: TCP, port: {{ .port }}}]
{{- end }}

{{/* Prometheus reads metrics. In: root. Out: items of `ingress`. */}}
{{- define "imagineo.ingress.metrics" -}}
- ports: [{protocol: TCP, port: metrics}]
  {{- with .Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* In: root, to (component names). Out: items of `egress`: the components' service ports, name resolution, traces. */}}
{{- define "imagineo.egress" -}}
# Name resolution
- ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
  {{- with .root.Values.networkPolicy.namesTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- range .to }}
- to:
    - podSelector:
        matchLabels:
          {{- include "imagineo.selector" (dict "root" $.root "name" .) | nindent 10 }}
  ports: [{protocol: TCP, port: {{ include "imagineo.port" . }}}]
{{- end }}
{{- with .root.Values.tracing }}
{{- if .endpoint }}
- ports: [{protocol: TCP, port: {{ .port }}}]
  {{- with .peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* In: root, party (`postgres`, `nats` or `blobs`). Out: an item of `egress`. */}}
{{- define "imagineo.egress.party" -}}
{{- if and (eq .party "blobs") (not .root.Values.blobs.existingSecret) (not .root.Values.blobs.evaluation.enabled) }}
{{- range .root.Values.networkPolicy.identityTo }}
# Who the pod is to the object store
- ports: [{protocol: TCP, port: {{ .port }}}]
  to: [{ipBlock: {cidr: {{ .cidr }}}}]
{{- end }}
{{- end }}
{{- $party := get .root.Values .party }}
{{- if not $party.evaluation.enabled }}
- ports: [{protocol: TCP, port: {{ $party.port }}}]
  {{- with $party.peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- else if ne .party "blobs" }}
- to:
    - podSelector:
        matchLabels:
          {{- include "imagineo.selector" (dict "root" .root "name" .party) | nindent 10 }}
  ports: [{protocol: TCP, port: {{ ternary 5432 4222 (eq .party "postgres") }}}]
{{- end }}
{{- end }}

{{/* To public addresses only. In: root, ports (empty: all). Out: an item of `egress`. */}}
{{- define "imagineo.egress.internet" -}}
{{- $four := list "10.0.0.0/8" "100.64.0.0/10" "127.0.0.0/8" "169.254.0.0/16" "172.16.0.0/12" "192.168.0.0/16" }}
{{- $six := list "::1/128" "fc00::/7" "fe80::/10" }}
{{- range .root.Values.networkPolicy.webhooksExcept }}
{{- if contains ":" . }}{{ $six = append $six . }}{{ else }}{{ $four = append $four . }}{{ end }}
{{- end -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- else }}
    - {protocol: TCP, port: 1, endPort: 65535}
    {{- end }}
  to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          {{- toYaml $four | nindent 10 }}
    - ipBlock:
        cidr: ::/0
        except:
          {{- toYaml $six | nindent 10 }}
{{- end }}
