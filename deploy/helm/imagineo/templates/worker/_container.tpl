{{/* What only a worker's container has. */}}

{{/* In: root, name, values (of the pool). Out: items of `env`. */}}
{{- define "imagineo.worker.environment" -}}
{{ include "imagineo.environment.logs" . }}
- name: IMAGINEO_WORKER_WORKER_ID
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: IMAGINEO_METRICS_LISTEN, value: "0.0.0.0:{{ include "imagineo.port" "metrics" }}"}
{{- range list "catalog" "status" }}
- {name: IMAGINEO_{{ upper . }}_ADDRESS, value: "{{ include "imagineo.address" (dict "root" $.root "name" .) }}"}
{{- end }}
{{- with include "imagineo.environment.tls" . }}
{{ . }}
{{- end }}
{{ include "imagineo.environment.nats" . }}
{{ include "imagineo.environment.blobs" . }}
- {name: IMAGINEO_WORKER_CACHE_DIR, value: /var/lib/imagineo/cache}
- {name: IMAGINEO_WORKER_DEVICE, value: {{ ternary "cuda" "cpu" (ne .values.gpu.resource "") }}}
{{- with .values.compile }}
- {name: IMAGINEO_WORKER_COMPILE, value: {{ . }}}
# A graph of a large model takes minutes when its size first comes; that is no device that hangs.
- {name: IMAGINEO_WORKER_HANG_S, value: "900"}
{{- end }}
- {name: IMAGINEO_WORKER_DRAIN_S, value: {{ .values.drainSeconds | quote }}}
{{- with .values.baseModels }}
- {name: IMAGINEO_WORKER_BASE_MODELS, value: {{ join "," . | quote }}}
{{- end }}
- {name: IMAGINEO_WORKER_ADAPTER_CACHE_BYTES, value: "{{ include "imagineo.worker.adapterCache" .values.cache }}"}
{{- end }}

{{/*
LoRA files get a quarter of the disk, so that they make room for each other before the node takes the pod away.
In: the pool's `cache`. Out: bytes.
*/}}
{{- define "imagineo.worker.adapterCache" -}}
{{- div (include "imagineo.bytes" .size) 4 -}}
{{- end }}

{{/* In: the pool's values. Out: resources with the GPU in them. */}}
{{- define "imagineo.worker.resources" -}}
{{- $resources := deepCopy .resources }}
{{- with .gpu }}
{{- if .resource }}
{{- $_ := set $resources "limits" (mergeOverwrite ($resources.limits | default dict) (dict .resource (toString .count))) }}
{{- end }}
{{- end }}
{{- include "imagineo.resources" (dict "resources" $resources "disk" (ternary (list "1Gi") (list "1Gi" .cache.size) (ne .cache.storageClass ""))) }}
{{- end }}

{{/* In: the pool's `cache`. Out: a volume; it holds nothing that cannot be fetched again. */}}
{{- define "imagineo.worker.cache" -}}
- name: cache
  {{- if .storageClass }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        storageClassName: {{ .storageClass }}
        resources: {requests: {storage: {{ .size }}}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .size }}}
  {{- end }}
{{- end }}
