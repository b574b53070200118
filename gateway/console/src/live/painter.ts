type Picture = VideoFrame | ImageBitmap

/** Paints the newest picture of a stream on a canvas, at most once per screen refresh. */
export class Painter {
  private next: Picture | null = null
  private request = 0
  private readonly context: CanvasRenderingContext2D | null

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly painted: (width: number, height: number) => void,
  ) {
    this.context = canvas.getContext('2d', { alpha: false })
  }

  show(picture: Picture): void {
    this.next?.close()
    this.next = picture
    this.request ||= requestAnimationFrame(() => this.paint())
  }

  close(): void {
    cancelAnimationFrame(this.request)
    this.next?.close()
    this.next = null
  }

  private paint(): void {
    this.request = 0
    const picture = this.next
    this.next = null
    if (!picture) return
    const [width, height] =
      'displayWidth' in picture
        ? [picture.displayWidth, picture.displayHeight]
        : [picture.width, picture.height]
    if (this.canvas.width !== width) this.canvas.width = width
    if (this.canvas.height !== height) this.canvas.height = height
    this.context?.drawImage(picture, 0, 0, width, height)
    picture.close()
    this.painted(width, height)
  }
}
