{{/* A pool: its values, and the context that the shared parts take. */}}

{{/* In: root. Out: JSON of the pools by name; who names none has one. */}}
{{- define "imagineo.pools" -}}
{{- .Values.workerPools | default (dict "default" dict) | toJson -}}
{{- end }}

{{/* In: root, pool (its name). Out: JSON of the pool's values: the defaults with what the pool says. */}}
{{- define "imagineo.pool" -}}
{{- mergeOverwrite (deepCopy .root.Values.workerDefaults) (get (.root.Values.workerPools | default dict) .pool | default dict) | toJson -}}
{{- end }}

{{/* In: root, pool. Out: what selects its pods. */}}
{{- define "imagineo.pool.selector" -}}
{{ include "imagineo.selector" (dict "root" .root "name" "worker") }}
imagineo/pool: {{ .pool }}
{{- end }}

{{/* In: root, pool. Out: the fields of `metadata` of the pool's resources. */}}
{{- define "imagineo.pool.metadata" -}}
name: {{ include "imagineo.component" (dict "root" .root "name" (printf "worker-%s" .pool)) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "imagineo.labels" (dict "root" .root "name" "worker") | nindent 2 }}
  imagineo/pool: {{ .pool }}
{{- end }}

{{/* A base model's durable queue of one lane, as `imagineo.broker.subjects.queue` names it. In: slug, lane. */}}
{{- define "imagineo.queue" -}}
{{- printf "worker-%s-%s" (replace "." "=2E" .slug) .lane -}}
{{- end }}

{{/* In: root, pool. Out: JSON list of what is wrong with it, a sentence each. */}}
{{- define "imagineo.pool.problems" -}}
{{- $values := include "imagineo.pool" . | fromJson }}
{{- $problems := list }}
{{- $where := printf "workerPools.%s" .pool }}
{{- if hasKey $values.settings "COMPILE" }}
{{- $problems = append $problems (printf "%s.settings.COMPILE is not enough: compiling needs a compiler in the image. Set %s.compile to default or cuda-graphs, which takes image.workerCompile." $where $where) }}
{{- end }}
{{- if eq $values.autoscaling.kind "keda" }}
{{- if not $values.baseModels }}
{{- $problems = append $problems (printf "%s.autoscaling.kind=keda needs to know whose queues to watch. Set %s.baseModels, or autoscaling.kind=hpa." $where $where) }}
{{- end }}
{{- if and (not .root.Values.nats.evaluation.enabled) (not .root.Values.nats.monitoringEndpoint) }}
{{- $problems = append $problems (printf "%s.autoscaling.kind=keda reads the queues' length from NATS. Set nats.monitoringEndpoint, such as nats-headless.nats.svc:8222." $where) }}
{{- end }}
{{- end }}
{{- if and (eq $values.autoscaling.kind "hpa") (lt ($values.autoscaling.min | int) 1) }}
{{- $problems = append $problems (printf "%s.autoscaling.min is 0, and an HPA cannot wake a pool. Set it to 1 or more, or autoscaling.kind=keda." $where) }}
{{- end }}
{{- if lt ($values.autoscaling.max | int) (max 1 $values.autoscaling.min | int) }}
{{- $problems = append $problems (printf "%s.autoscaling.max is less than min. Raise it." $where) }}
{{- end }}
{{- with $values.gpu.resource }}
{{- if or (hasKey ($values.resources.limits | default dict) .) (hasKey ($values.resources.requests | default dict) .) }}
{{- $problems = append $problems (printf "%s.resources names %s, which gpu.resource already asks for: a worker drives one. Leave it out of resources, and raise replicas or autoscaling.max for more." $where .) }}
{{- end }}
{{- end }}
{{- $known := get (.root.Files.Get "files/settings.json" | fromJson) "worker" }}
{{- $problems = concat $problems (include "imagineo.settings.problems" (dict "known" $known "where" (printf "%s.settings" $where) "settings" $values.settings) | fromJsonArray) }}
{{- toJson $problems }}
{{- end }}
