{{/* Disk of the node: what emptyDirs may take is asked for, so that the scheduler counts it. */}}

{{/* In: a size such as `5Gi`. Out: bytes. */}}
{{- define "imagineo.bytes" -}}
{{- mul (regexFind "^[0-9]+" . | int64) (get (dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) (regexFind "[MGT]i$" .) | int64) -}}
{{- end }}

{{/*
Resources of a container, which asks for the disk that its pod's emptyDirs may take; what values say of it counts more.
In: resources, disk (sizes). Out: fields of `resources`.
*/}}
{{- define "imagineo.resources" -}}
{{- $bytes := 0 -}}
{{- range .disk }}{{ $bytes = add $bytes (include "imagineo.bytes" .) }}{{ end -}}
{{- $disk := dict "ephemeral-storage" (ternary (printf "%dGi" (div $bytes 1073741824)) (printf "%dMi" (div $bytes 1048576)) (eq (mod $bytes 1073741824) 0)) -}}
{{- $resources := deepCopy .resources -}}
{{- if $bytes }}{{ $_ := set $resources "requests" (merge ($resources.requests | default dict) $disk) }}{{ end -}}
{{- toYaml $resources }}
{{- end }}
