export type Layer = HTMLCanvasElement | HTMLVideoElement

/**
 * The picture of a tile: layers in one element, of which one is seen. A new stream paints on a
 * layer of its own, and the old picture stays until the new one has something to show.
 */
export class Screen {
  private seen: Layer | null = null

  constructor(private readonly host: HTMLElement) {}

  /** A new layer, not seen yet. */
  add(kind: 'canvas' | 'video'): Layer {
    const layer = document.createElement(kind)
    layer.className = 'layer'
    layer.style.visibility = 'hidden'
    if (layer instanceof HTMLVideoElement) layer.playsInline = layer.muted = true
    this.host.append(layer)
    return layer
  }

  /** Shows a layer in place of the one before. */
  reveal(layer: Layer): void {
    if (this.seen === layer) return
    layer.style.visibility = ''
    layer.dataset.test = layer instanceof HTMLVideoElement ? 'live-video' : 'live-canvas'
    this.seen?.remove()
    this.seen = layer
  }

  /** The stream of a layer ends: its last picture stays if it is seen, else it goes. */
  retire(layer: Layer): void {
    if (this.seen !== layer) layer.remove()
    else if (layer instanceof HTMLVideoElement) this.freeze(layer)
  }

  /** Nothing of what was seen may stay. */
  blank(): void {
    this.seen?.remove()
    this.seen = null
  }

  private freeze(video: HTMLVideoElement): void {
    const still = this.add('canvas') as HTMLCanvasElement
    still.width = video.videoWidth || 1
    still.height = video.videoHeight || 1
    still.getContext('2d')?.drawImage(video, 0, 0)
    this.reveal(still)
  }
}
